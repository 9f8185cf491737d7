"""What a fleet would cost on each broker, computed from what was measured here."""
