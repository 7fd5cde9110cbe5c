"""What we write to people, and how it reaches them.

`letters` has the words and `notices` the letters that somebody has to have got before something may happen; `sending`
takes what was accepted to the channels. What a message is, and that it was accepted once, is the members' package's.
"""
