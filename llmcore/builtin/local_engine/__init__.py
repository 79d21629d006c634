"""The engine `local`: worker processes on this machine."""
