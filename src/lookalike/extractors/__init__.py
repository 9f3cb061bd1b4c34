"""Extractors: each turns blobs into documents with vectors of one space."""
