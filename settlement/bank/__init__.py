"""THE BANK'S FILES: payments written as ISO 20022 messages, statements read from them, and nothing taken on trust."""
