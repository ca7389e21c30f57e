package pgengine

import (
	"encoding/hex"

	"github.com/watermarkchurch/toot-go/engine/internal/identity"
)

// identify returns the identity of an event.
func (e *Engine) identify(channel, id, replay string) identity.Identity {
	return identity.Of(&e.salt, channel, id, replay)
}

// hexed is a name of any bytes as a text that the server takes.
func hexed(s string) string { return hex.EncodeToString([]byte(s)) }
