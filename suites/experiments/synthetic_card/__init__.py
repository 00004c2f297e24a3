"""The suite `synthetic_card`."""
