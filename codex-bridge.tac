# Start with: twistd -ny codex-bridge.tac
# The settings come from environment variables: CODEX_BRIDGE_PORT, CODEX_BRIDGE_UPSTREAM_URL
# and so on; `twistd codex-bridge --help` lists the options they stand for.
from twisted.application.service import Application

from codex_bridge.tap import Options, makeService

options = Options()
options.parseOptions([])
application = Application("codex-bridge")
makeService(options).setServiceParent(application)
