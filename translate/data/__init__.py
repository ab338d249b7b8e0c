"""What is learned from: folders of pictures as batches, augmentation, pairs, inspection."""
