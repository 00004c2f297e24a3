"""The suite `estimators`."""
