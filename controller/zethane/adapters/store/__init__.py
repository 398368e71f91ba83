"""State that outlives the controller."""
