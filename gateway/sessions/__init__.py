"""People signing in: members to the first-party app, staff to the console.

Owns the words session, sign-in code, passkey, invitation, step-up, mailbox. Every instant here is the wall clock's.
"""
