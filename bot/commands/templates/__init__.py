"""The commands that show, edit, test and publish prompt templates."""
