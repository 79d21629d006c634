"""The toolkit for plugin authors: functions that several backends need."""
