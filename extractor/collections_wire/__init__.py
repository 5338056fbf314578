"""What the `Collections` service and its clients say to each other: values, and messages for them."""
