"""The provider `cassette`: it records the calls of another provider in a file, and replays them without it."""
