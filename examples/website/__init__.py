"""A site of video tutorials: what its visitors do, how far they are, and where they leave."""
