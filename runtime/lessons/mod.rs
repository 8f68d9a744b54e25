//! Reads lessons/*, plays, checks and scores them; uses public commands only.
