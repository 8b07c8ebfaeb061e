"""The capacity probe: a checked job -> networks trained until they hold no more, what they hold."""
