"""Reads the stores: request statistics and health over HTTP."""
