"""What a page of its own needs to edit, test and publish templates: the commands' work, answered as data."""
