"""What the commands of the folder recognition/ do."""
