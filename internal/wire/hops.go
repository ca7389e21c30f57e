package wire

import (
	"math"
	"net/http"
	"strconv"
)

// Hops: an event that was published because another one was delivered is one
// hop further from where it all began. Its deliveries say how many hops that
// is, so that a circle of servers that publish what they are sent comes to an
// end. See docs/wire.md.
const (
	// HopsHeader is sent with a delivery, unless its event is of no hops. On an
	// answer with 422 it says that the event came too far, and how far it may
	// have come.
	HopsHeader = "X-Toot-Hops"
	// MaxHops is how many hops deep a delivery may be that is published again.
	MaxHops = 3
)

// EncodeHops returns a number of hops in the form in which it is kept with an
// event: a line like those of EncodeTrace; nil for none.
func EncodeHops(hops int) []byte {
	if hops <= 0 {
		return nil
	}
	return []byte(HopsHeader + ": " + strconv.Itoa(hops) + "\n")
}

// DeliveryHops reads how many hops deep the delivery is that a request is, and
// whether it is one: it has the header, or was sent by this implementation. A
// header that is no number says that it came from further than anybody counts.
func DeliveryHops(h http.Header) (hops int, isDelivery bool) {
	text := h.Get(HopsHeader)
	if text == "" {
		return 0, h.Get("User-Agent") == UserAgent[0]
	}
	n, err := strconv.ParseUint(text, 10, 31)
	if err != nil {
		return math.MaxInt32, true
	}
	return int(n), true //nolint:gosec // 31 bits
}
