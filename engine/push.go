package engine

// PushRequest says what to store, and about which channels to answer.
type PushRequest struct {
	Jobs []Job
	// Channels are those of which the caller wants to know the subscribers.
	// They need not be the channels of the jobs.
	Channels []string
	// MaxSubscribers is up to how many subscribers a channel's are listed;
	// of one with more the answer just says so. At least 1 if there are
	// Channels.
	MaxSubscribers int
}

// PushResult is the answer to a PushRequest.
type PushResult struct {
	// Tickets has one entry for each job, in order: empty for a job that was
	// already there or that was pushed without a Lease, otherwise the ticket
	// of the claim under which it was stored.
	Tickets []Ticket
	// Audiences has one entry for each of the request's channels, in order.
	Audiences []Audience
}

// Audience is who gets the events of a channel.
type Audience struct {
	// CallbackURLs are the channel's subscribers in no particular order, or
	// nil if there are more than were asked for. The caller must not change
	// the slice.
	CallbackURLs []string
	// More says that there are more than PushRequest.MaxSubscribers.
	More bool
	// Count is how many subscribers there are, in either case. Members that
	// another program has written count, too.
	Count int
	// Err is why the channel's subscribers can't be told. The fields above
	// mean nothing then.
	Err error
}
