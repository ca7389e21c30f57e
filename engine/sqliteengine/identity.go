package sqliteengine

import (
	"fmt"

	"github.com/watermarkchurch/toot-go/engine"
	"github.com/watermarkchurch/toot-go/engine/internal/identity"
)

func (e *Engine) readSalt(c *conn) error {
	q, _, err := c.query("SELECT salt FROM state")
	if err != nil {
		return err
	}
	defer q.reset()
	if n := copy(e.salt[:], q.peek(0)); n != identity.SaltSize {
		return fmt.Errorf("the salt in it has %d bytes instead of %d", n, identity.SaltSize)
	}
	return nil
}

func (e *Engine) identify(event *engine.Event) identity.Identity {
	return identity.Of(&e.salt, event.Channel, event.ID, event.Replay)
}
