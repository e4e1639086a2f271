"""HTTP: metrics and health, as an ASGI application and as a server on its own thread."""
