"""Having a logged run again: its config restored from what it left, trained once more, and the two compared."""
