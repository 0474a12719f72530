"""The log and what folds it: messages, machines, the Faust app."""
