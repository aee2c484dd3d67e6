"""kind clusters for the demo and the tests: a Docker daemon, a node image and the product's image, each had or made.

Where images can be pulled kind's own node image is used. Where no registry is reachable one is built from Debian
packages and Go modules, once for each set of versions; where no daemon answers one of our own is started.
"""
