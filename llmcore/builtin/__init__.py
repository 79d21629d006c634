"""The built-in backends: language model `echo`, caches `memory` and `file`, ledger `sqlite`, engine `local`."""
