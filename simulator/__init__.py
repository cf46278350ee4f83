"""Stand-ins for the phone and the model: a caller, and an offline model that listens, thinks and speaks."""
