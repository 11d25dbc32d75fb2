"""Models: what is known of each by its name, and where its files are.

A **card** says where the weights are, which prompt format the model takes, and where it came from.
The **registry** finds cards by name, and their files on the disk, in a package or on the hub. An
**alias** is another name, whose card changes when a successor is promoted. **Digests** identify the
weights that produced a text.
"""
