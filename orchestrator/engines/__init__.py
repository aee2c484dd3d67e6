"""The two engines: V2, the durable one, and V1, the legacy baseline that users are leaving."""
