"""The tests: unit/ mirrors the package room by room; support/ has what tests of several rooms use."""
