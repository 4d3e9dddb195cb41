"""The store adapter for an account's repository on an ATProto PDS."""
