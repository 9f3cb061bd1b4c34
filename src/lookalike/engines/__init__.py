"""Engines: where heavy work is done when one machine is not enough."""
