"""`glassq demo`: webhook deliveries in strict order per customer, through a crash, proved at the receiver."""
