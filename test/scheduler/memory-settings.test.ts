import { memorySettings } from '../../services/scheduler/memory/settings.ts'
import { settingsConformance } from '../conformance/settings.ts'

settingsConformance('memory', async () => {
  const settings = memorySettings()
  return { settings, stop: () => settings.close() }
})
