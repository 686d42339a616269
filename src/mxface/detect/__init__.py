"""Where the faces are: box arithmetic and the MTCNN cascade."""
