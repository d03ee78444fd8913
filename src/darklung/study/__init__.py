"""Study files and the ordered stages that they stand for."""
