"""`glassq bench`: this queue beside the raw client and its peers, in one run, on this machine."""
