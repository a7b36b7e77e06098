"""Encoders turn decoded content into embeddings; one interface, one module an implementation."""
