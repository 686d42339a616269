"""From five landmarks to the 112x112 face that every network of 2019 takes, and the commands that do it to folders."""
