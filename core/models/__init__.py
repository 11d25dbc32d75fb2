"""Models: what is known of each by its name, and where its files are.

A **card** says where weights are, how the model is spoken to, and where it came from. The
**registry** finds cards by name and their files on the disk, from a package or from the hub; an
**alias** is a further name, whose card changes when a successor is promoted. **Digests** say which
weights spoke.
"""
