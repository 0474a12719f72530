"""An ordinary Faust app that does the same job, to compare with."""
