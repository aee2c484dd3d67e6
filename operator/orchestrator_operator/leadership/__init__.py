"""One operator acts, the others wait: a Lease of the API server says which."""
