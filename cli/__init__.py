"""The command `lamella`: one verb a file."""
