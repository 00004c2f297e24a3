"""The suite `tr_mnist`."""
