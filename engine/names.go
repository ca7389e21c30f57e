package engine

// ChannelNames is implemented by engines whose channels have names that other
// programs on the same server use too. Such an engine refuses, in every call,
// the names of keys that are known to be others': that is ErrInvalid.
type ChannelNames interface {
	// KeepChannelsApart says that the channels of this process have no prefix
	// that keeps them from being named like a key of another program's: the
	// engine is to keep their subscribers where they can't meet. It is called
	// before the engine is used. Subscribers that others share already stay
	// where they are.
	KeepChannelsApart()
}
