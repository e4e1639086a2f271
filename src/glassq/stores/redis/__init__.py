"""The store on a Redis server: lists of jobs, lanes with leases, one Lua script per verb."""
