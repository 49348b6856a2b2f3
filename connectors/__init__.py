"""The edges of Logwax: everything that talks to the outside world."""
