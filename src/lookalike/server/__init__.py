"""The server: the resources of a store over HTTP, with a gate in front."""
