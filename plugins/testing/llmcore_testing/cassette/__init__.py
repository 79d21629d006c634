"""The provider `cassette` records the calls of another provider in a file, and replays them from that file."""
