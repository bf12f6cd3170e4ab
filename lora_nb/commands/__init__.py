"""The verbs as commands: what both the magics and the console offer, one file each."""
