"""The stores: each implements `glassq.storage.Storage`, none knows another."""
